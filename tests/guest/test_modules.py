"""Which modules a guest's kernel loads, and in which order."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from guest.modules import ModuleError, in_order


def module(place: Path, name: str, *needs: str, suffix: str = ".ko") -> None:
    """A file of a module that depends on others."""
    data = b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"
    kinds: dict[str, Callable[[bytes], bytes]] = {
        ".ko": bytes,
        ".ko.xz": lzma.compress,
        ".ko.gz": gzip.compress,
        ".ko.zst": bytes,
    }
    file = place / f"kernel/drivers/{name}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(kinds[suffix](data))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio-ring.ko\n")
    return tmp_path


def test_what_a_module_depends_on_comes_before_it(here: Path) -> None:
    module(here, "virtio_mem", "virtio", "virtio_ring", suffix=".ko.xz")
    module(here, "virtio", "base", suffix=".ko.gz")
    module(here, "base")
    module(here, "unwanted")
    found, absent = in_order(here, ["virtio_mem", "base"])
    assert list(found) == ["base", "virtio", "virtio_mem"]
    assert all(data.startswith(b"\x7fELF") for data in found.values())
    assert absent == set()


def test_a_hyphen_in_the_name_of_a_file_is_an_underscore(here: Path) -> None:
    module(here, "device-dax", "dax-core")
    module(here, "dax-core")
    assert list(in_order(here, ["device_dax"])[0]) == ["dax_core", "device_dax"]


def test_what_is_built_in_is_not_loaded_and_what_is_nowhere_is_told(here: Path) -> None:
    assert in_order(here, ["virtio_ring", "virtio_mem"]) == ({}, {"virtio_mem"})


def test_a_directory_that_is_none_of_a_kernels_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=r"no modules\.builtin here"):
        in_order(tmp_path, ["virtio_mem"])


def test_a_module_that_cannot_be_read_is_named(here: Path) -> None:
    module(here, "virtio_mem", suffix=".ko.zst")
    with pytest.raises(ModuleError, match=r"virtio_mem\.ko\.zst: modules are read as"):
        in_order(here, ["virtio_mem"])
    module(here, "other", suffix=".ko.xz")
    (here / "kernel/drivers/other.ko.xz").write_bytes(b"damaged")
    with pytest.raises(ModuleError, match=r"other\.ko\.xz: "):
        in_order(here, ["other"])
