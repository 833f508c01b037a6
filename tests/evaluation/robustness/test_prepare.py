"""What is known of a measurement before it is made."""

import pytest
from PIL import Image

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.frost import FILES, _load
from bnn_jax.evaluation.corruptions.record import tables
from bnn_jax.evaluation.robustness import identity, prepare
from bnn_jax.evaluation.robustness.request import Request


def test_images_are_known_by_their_folder_their_frost_and_their_version(tmp_path, monkeypatch):
    def images(request, names, variant="imagenet_c"):
        return prepare._images(request, names, variant, (72, 72, 3))

    monkeypatch.chdir(tmp_path)
    published = images(Request("imagenet_c", "there"), ("frost",))
    assert published == {"images": str(tmp_path / "there"), "frost": None, "pixels": None, "stored": "jpeg85"}
    monkeypatch.delenv("BNN_JAX_FROST", raising=False)
    without = images(Request(), ("fog",))
    assert without == {"images": None, "frost": None, "pixels": identity.PIXELS, "stored": "memory"}
    found = []
    for shade in (40, 41):
        for name in FILES:
            Image.new("RGB", (90, 80), (shade,) * 3).save(tmp_path / name)
        _load.cache_clear()
        tables.cache_clear()
        monkeypatch.setenv("BNN_JAX_FROST", str(tmp_path))
        found.append(images(Request(), ("fog", "frost"))["frost"])
    tables.cache_clear()
    _load.cache_clear()
    assert len({None, *found}) == 3


def test_extra_corruptions_that_are_not_published_are_not_asked_for(tmp_path):
    (tmp_path / "saturate.npy").touch()
    names = prepare._names(Request("cifar10_c", str(tmp_path)))
    assert names == (*corruptions.COMMON, "saturate")
    with pytest.raises(ValueError, match=r"found none: .* has none of speckle_noise"):
        prepare._names(Request("cifar10_c", str(tmp_path), (*corruptions.COMMON, "saturate")))
