"""Which items to ask for: functions of arrays, each with the paper that it is of."""
