#!/usr/bin/env bash
# A Slurm of one node on this machine, from Debian's slurmctld, slurmd and munge; nobody needs to be root.
#
#     eval "$(tests/slurm/start.sh)"    # SLURM_CONF is set: sinfo, sbatch and dask-jobqueue use it
#     tests/slurm/stop.sh
set -euo pipefail

folder=${GEOSEG_SLURM:-${TMPDIR:-/tmp}/geoseg-slurm-$(id -u)}
host=$(hostname -s)
user=$(id -un)
"$(dirname "$0")/stop.sh" >/dev/null 2>&1 || true
rm -rf "$folder"
mkdir -p -m 700 "$folder"/{state,spool,log}
chmod 700 "$folder"

head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 400 "$folder/munge.key"
/usr/sbin/munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
    --pid-file="$folder/munge.pid" --log-file="$folder/log/munge.log" \
    --seed-file="$folder/munge.seed" --num-threads=1 >&2

# Two at least, for jobs of two tasks. Not nproc, which OMP_NUM_THREADS changes.
cpus=$(getconf _NPROCESSORS_ONLN)
cpus=$((cpus < 2 ? 2 : cpus))
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat > "$folder/slurm.conf" <<CONF
ClusterName=geoseg
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2
SchedulerTimeSlice=5
KillWait=2
MinJobAge=10
InactiveLimit=0
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

export SLURM_CONF=$folder/slurm.conf
/usr/sbin/slurmctld -c >&2
/usr/sbin/slurmd -c >&2
for _ in $(seq 60); do
    if [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null)" = 1 ]; then
        echo "export SLURM_CONF=$SLURM_CONF"
        exit 0
    fi
    sleep 0.5
done
echo "Slurm has not come up; see $folder/log." >&2
tail -n 20 "$folder"/log/*.log >&2
exit 1
