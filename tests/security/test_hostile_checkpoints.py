"""A network of somebody else runs nothing: what is no safetensors with JSON in it is refused."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from parsers import classifier_header, header_of, model_spec
from safetensors.torch import save

from geoseg.errors import ModelError
from geoseg.models import load_checkpoint
from geoseg.models.classifier import load_classifier


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved_by_torch(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def zipped(value):
    """As torch.jit.save and torch.export.save lay out their archives."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value))
        archive.writestr("archive/version", "3")
    return file.getvalue()


def with_header(text):
    return save({"a": torch.zeros(1)}, metadata={"geoseg": text})


HOSTILE = {
    "a pickle": pickle.dumps,
    "a pickle of protocol 0": lambda value: pickle.dumps(value, protocol=0),
    "a checkpoint of torch": saved_by_torch,
    "an archive": zipped,
    "a pickle after tensors": lambda value: with_header("{}") + pickle.dumps(value),
    "a pickle as header": lambda value: with_header(pickle.dumps(value, protocol=0).decode()),
}


@pytest.mark.parametrize("load", [load_checkpoint, load_classifier])
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".ckpt"])
def test_what_would_run_is_refused_and_does_not_run(tmp_path, kind, suffix, load):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(HOSTILE[kind](Touch(tmp_path / "touched")))

    with pytest.raises(ModelError, match=r"is not a checkpoint of geoseg or is damaged"):
        load(path)

    assert not (tmp_path / "touched").exists()


def header(tmp_path, fields):
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={"geoseg": json.dumps(fields)}))
    return path


@pytest.mark.parametrize(
    "encoder", ["hf-hub:a/b", "tu-hf-hub:a/b", "local-dir:/tmp/a", "tu-local-dir:/tmp/a", "../a"]
)
def test_no_encoder_is_fetched_by_the_name_in_a_header(tmp_path, encoder):
    with pytest.raises(ModelError, match=r"no encoder named"):
        load_checkpoint(header(tmp_path, header_of({**model_spec(), "encoder": encoder})))
    described = classifier_header()
    described["classifier"]["encoder"] = encoder
    with pytest.raises(ModelError, match=r"no encoder named"):
        load_classifier(header(tmp_path, described))


@pytest.mark.parametrize("fields", [[], 1, None, "a", {}, {"spec": []}, {"spec": {"scheme": 1}}])
def test_a_header_of_another_shape_is_refused_in_one_sentence(tmp_path, fields):
    for load in (load_checkpoint, load_classifier):
        with pytest.raises(ModelError, match=r"^\S+model\.safetensors .*[.]$"):
            load(header(tmp_path, fields))


@pytest.mark.parametrize("width", [10**6, 10**12, -1, 1.5, "16", None])
def test_a_network_that_no_machine_holds_is_refused(tmp_path, width):
    described = classifier_header()
    described["classifier"]["width"] = width

    with pytest.raises(ModelError, match=r"^\S+model\.safetensors .*[.]$"):
        load_classifier(header(tmp_path, described))
