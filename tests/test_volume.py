"""Orientation keeps every voxel in its place; NIfTI files come back as written, or say why not."""

import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hermes.files.nifti import read_nifti, read_nifti_frames, write_nifti
from hermes.files.volume import (
    Volume,
    VolumeError,
    grid_shift_mm,
    orthonormal,
    reorient,
    reorient_like,
    same_grid,
)

SPACING_XYZ = (0.7, 1.1, 2.5)
SIZE_XYZ = (4, 3, 5)
TURNS = [
    np.eye(3)[list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
]
OBLIQUE = Rotation.from_euler("xyz", [17, -12, 25], degrees=True).as_matrix()


def numbered(directions: np.ndarray) -> Volume:
    """Every voxel holds its own number."""
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING_XYZ
    affine[:3, 3] = (-31.0, 12.5, 140.25)
    array = np.arange(np.prod(SIZE_XYZ), dtype=np.int16).reshape(SIZE_XYZ[::-1])
    return Volume(array, affine)


def world_positions(volume: Volume) -> np.ndarray:
    """World position (n, 3) of the voxel that holds 0, 1, 2, ..."""
    index = np.indices(volume.array.shape).reshape(3, -1)[::-1]
    world = volume.affine[:3, :3] @ index + volume.affine[:3, 3:]
    return world.T[np.argsort(volume.array.ravel())]


@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("turn", TURNS, ids=range(48))
def test_reorient_keeps_every_voxel_in_place_and_comes_back(turn, rotation):
    native = numbered(rotation @ turn)
    canonical = reorient(native)
    assert canonical.axcodes == "LPS"
    np.testing.assert_allclose(world_positions(canonical), world_positions(native), atol=1e-9)

    back = reorient_like(canonical, native.affine, native.array.shape[::-1])
    np.testing.assert_array_equal(back.array, native.array)
    assert back.affine is native.affine


def test_spacing_follows_the_axes():
    native = numbered(TURNS[0])
    assert native.axcodes == "RAS"
    assert native.spacing_mm == pytest.approx(SPACING_XYZ[::-1])
    turned = reorient(native, "SPL")
    assert turned.axcodes == "SPL"
    assert turned.spacing_mm == pytest.approx(SPACING_XYZ)


def test_reorient_like_after_orthonormal():
    sheared = TURNS[13].copy()
    sheared[:, 0] += 0.02 * sheared[:, 1]
    native = numbered(sheared)
    canonical = reorient(native)
    straight = Volume(canonical.array, orthonormal(canonical.affine)[0])
    back = reorient_like(straight, native.affine, native.array.shape[::-1])
    np.testing.assert_array_equal(back.array, native.array)


def test_reorient_like_refuses_another_grid():
    native = numbered(TURNS[5])
    canonical = reorient(native)
    with pytest.raises(VolumeError, match="size"):
        reorient_like(canonical, native.affine, (9, 9, 9))
    coarser = Volume(canonical.array, canonical.affine @ np.diag([2, 2, 2, 1.0]))
    with pytest.raises(VolumeError, match="resample"):
        reorient_like(coarser, native.affine, native.array.shape[::-1])


def test_orthonormal_halves_a_shear_between_its_two_axes():
    angle = np.radians(1.0)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 0] = 2 * np.array([np.cos(angle), np.sin(angle), 0])
    affine[:3, 3] = (1, 2, 3)
    result, deviation = orthonormal(affine)
    assert deviation == pytest.approx(0.5, rel=1e-6)
    directions = result[:3, :3] / [2, 2, 3]
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(result[:3, 3], affine[:3, 3])


def test_orthonormal_leaves_a_left_handed_grid_alone():
    affine = numbered(OBLIQUE @ TURNS[7]).affine
    result, deviation = orthonormal(affine)
    np.testing.assert_allclose(result, affine, atol=1e-12)
    assert deviation < 1e-9


def test_same_grid_looks_at_the_far_corner():
    a = numbered(TURNS[0])
    turned = a.affine.copy()
    turned[2, 0] += 0.01  # 3 voxels along x away from the first: 0.03 mm
    b = Volume(a.array, turned)
    assert grid_shift_mm(a, b) == pytest.approx(0.03)
    assert same_grid(a, b, tolerance_mm=0.031)
    assert not same_grid(a, b, tolerance_mm=0.029)
    assert not same_grid(a, Volume(a.array[1:], a.affine), tolerance_mm=1e9)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_written_files_read_back_here_and_in_nibabel(tmp_path, name, dtype):
    volume = numbered(OBLIQUE @ TURNS[9])
    write_nifti(tmp_path / name, volume, dtype)
    back = read_nifti(tmp_path / name)
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)

    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), volume.array.T)
    np.testing.assert_allclose(image.get_sform(), volume.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), volume.affine, atol=1e-4)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_writing_is_deterministic(tmp_path):
    volume = numbered(TURNS[0])
    write_nifti(tmp_path / "first.nii.gz", volume)
    write_nifti(tmp_path / "second.nii.gz", volume)
    written = (tmp_path / "first.nii.gz").read_bytes()
    assert written == (tmp_path / "second.nii.gz").read_bytes()
    assert written[3:8] == bytes(5)  # no flags (no file name), modification time 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first.nii.gz", "second.nii.gz"]


def save_raw(path, array_xyz, affine=None, slope=None, inter=None, endianness="<"):
    header = nib.Nifti1Header(endianness=endianness)
    header.set_data_dtype(array_xyz.dtype)
    image = nib.Nifti1Image(array_xyz, np.eye(4) if affine is None else affine, header)
    nib.save(image, path)
    if slope is not None:
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([slope, inter], endianness + "f4").tobytes()
        path.write_bytes(content)


def test_scaling_is_applied(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    save_raw(tmp_path / "a.nii", stored, slope=0.5, inter=-1024)
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, stored.T * 0.5 - 1024)


def test_big_endian_files(tmp_path):
    stored = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    save_raw(tmp_path / "a.nii", stored, endianness=">")
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.array.dtype == np.dtype("=i2")
    np.testing.assert_array_equal(volume.array, stored.T)


@pytest.mark.parametrize("scaling", [(None, None), (0.5, -7)], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<i8", "<i4", "<i2", "<f4"])
def test_eight_bytes_a_voxel_become_four_as_they_are_read(tmp_path, kind, scaling):
    stored = (np.arange(24).reshape(2, 3, 4) * 1001 - 9).astype(kind)
    save_raw(tmp_path / "a.nii", stored, None, *scaling, endianness=kind[0])
    usual = read_nifti(tmp_path / "a.nii").array
    narrow = read_nifti(tmp_path / "a.nii", narrow=True).array
    wide = usual.dtype.itemsize == 8
    assert narrow.dtype == (np.float32 if wide else usual.dtype)
    np.testing.assert_array_equal(narrow, usual.astype(narrow.dtype))


def test_what_float32_cannot_hold_is_infinite_and_refused_as_such(tmp_path):
    save_raw(tmp_path / "a.nii", np.array([[[1e300, -1e300, 0]]]))
    assert read_nifti(tmp_path / "a.nii").array.max() == 1e300
    wide = read_nifti(tmp_path / "a.nii", nan_ok=True, narrow=True).array
    assert wide.ravel().tolist() == [np.inf, -np.inf, 0]
    with pytest.raises(VolumeError, match="NaN or infinite"):
        read_nifti(tmp_path / "a.nii", narrow=True)


def test_sform_goes_before_qform(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.set_qform(np.diag([2, 2, 2, 1.0]), code=1)
    nib.save(image, tmp_path / "qform.nii")
    assert read_nifti(tmp_path / "qform.nii").spacing_mm == (2, 2, 2)
    image.set_sform(np.diag([3, 3, 3, 1.0]), code=2)
    nib.save(image, tmp_path / "both.nii")
    assert read_nifti(tmp_path / "both.nii").spacing_mm == (3, 3, 3)


def test_labels_become_integers_only_when_they_are(tmp_path):
    save_raw(tmp_path / "a.nii", np.full((2, 2, 2), 3.0))
    assert read_nifti(tmp_path / "a.nii", dtype=np.uint8).array.dtype == np.uint8
    save_raw(tmp_path / "half.nii", np.full((2, 2, 2), 2.5))
    with pytest.raises(VolumeError, match=r"half\.nii.*not whole"):
        read_nifti(tmp_path / "half.nii", dtype=np.uint8)
    save_raw(tmp_path / "wide.nii", np.full((2, 2, 2), 256, np.int16))
    with pytest.raises(VolumeError, match=r"wide\.nii.*256.*do not fit uint8"):
        read_nifti(tmp_path / "wide.nii", dtype=np.uint8)


@pytest.mark.parametrize("name", ["cine.nii", "cine.nii.gz"])
def test_frames_are_picked_from_a_4d_file(tmp_path, name):
    stored = np.arange(2 * 3 * 4 * 6, dtype=np.int16).reshape(2, 3, 4, 6)
    save_raw(tmp_path / name, stored)
    last, first = read_nifti_frames(tmp_path / name, [5, 1])
    np.testing.assert_array_equal(last.array, stored[..., 5].T)
    np.testing.assert_array_equal(first.array, stored[..., 1].T)
    with pytest.raises(VolumeError, match="no frame 6"):
        read_nifti_frames(tmp_path / name, [6])
    with pytest.raises(VolumeError, match="not 3D"):
        read_nifti(tmp_path / name)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    save_raw(tmp_path / "a.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1))
    assert read_nifti(tmp_path / "a.nii").array.shape == (4, 3, 2)


def test_frames_before_a_damaged_end_are_still_read(tmp_path):
    noise = np.random.default_rng(0).integers(-9999, 9999, (64, 64, 32, 9)).astype(np.int16)
    save_raw(tmp_path / "a.nii.gz", noise)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) // 2])
    (frame,) = read_nifti_frames(tmp_path / "a.nii.gz", [1])
    np.testing.assert_array_equal(frame.array, noise[..., 1].T)
    with pytest.raises(VolumeError, match="truncated"):
        read_nifti_frames(tmp_path / "a.nii.gz", [8])


def test_gzip_files_of_several_members(tmp_path):
    save_raw(tmp_path / "plain.nii", np.arange(4096, dtype=np.int16).reshape(16, 16, 16))
    content = (tmp_path / "plain.nii").read_bytes()
    members = gzip.compress(content[:3000]) + gzip.compress(content[3000:])
    (tmp_path / "members.nii.gz").write_bytes(members)
    np.testing.assert_array_equal(
        read_nifti(tmp_path / "members.nii.gz").array, read_nifti(tmp_path / "plain.nii").array
    )


@pytest.mark.parametrize("keep", [0, 5, 200, 400, -200, -5])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_files_are_named(tmp_path, name, keep):
    noise = np.random.default_rng(1).integers(0, 999, (9, 9, 9)).astype(np.int16)
    save_raw(tmp_path / name, noise)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(VolumeError, match=rf"{name}: .*(truncated|damaged)"):
        read_nifti(tmp_path / name)


def test_a_flipped_bit_is_noticed(tmp_path):
    noise = np.random.default_rng(2).integers(0, 999, (9, 9, 9)).astype(np.int16)
    save_raw(tmp_path / "a.nii.gz", noise)
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 1  # in the checksum
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(VolumeError, match="damaged"):
        read_nifti(tmp_path / "a.nii.gz")


def test_missing_and_misnamed_files(tmp_path):
    with pytest.raises(VolumeError, match=r"gone\.nii\.gz: no such file"):
        read_nifti(tmp_path / "gone.nii.gz")
    with pytest.raises(VolumeError, match=r"a\.mha: not a \.nii"):
        read_nifti(tmp_path / "a.mha")
    (tmp_path / "text.nii").write_text("not an image " * 100)
    with pytest.raises(VolumeError, match=r"text\.nii: not a NIfTI file"):
        read_nifti(tmp_path / "text.nii")


def test_unusable_geometry(tmp_path):
    save_raw(tmp_path / "flat.nii", np.zeros((4, 4), np.int16))
    with pytest.raises(VolumeError, match="not 3D"):
        read_nifti(tmp_path / "flat.nii")
    for name, row, message in (("nan", np.nan, "NaN"), ("zero", 0.0, "singular")):
        path = tmp_path / f"{name}.nii"
        save_raw(path, np.zeros((2, 2, 2), np.int16))
        content = bytearray(path.read_bytes())
        content[280:296] = np.full(4, row, "<f4").tobytes()  # srow_x
        path.write_bytes(content)
        with pytest.raises(VolumeError, match=rf"{name}\.nii: affine.*{message}"):
            read_nifti(path)


def test_nan_voxels_are_refused_unless_asked_for(tmp_path):
    stored = np.zeros((2, 2, 2), np.float32)
    stored[1, 0, 1] = np.nan
    save_raw(tmp_path / "a.nii", stored)
    with pytest.raises(VolumeError, match="contains NaN"):
        read_nifti(tmp_path / "a.nii")
    assert np.isnan(read_nifti(tmp_path / "a.nii", nan_ok=True).array).sum() == 1


def test_writing_refuses_what_the_file_cannot_hold(tmp_path):
    volume = numbered(TURNS[0])
    with pytest.raises(VolumeError, match="not a \\.nii"):
        write_nifti(tmp_path / "a.img", volume)
    with pytest.raises(VolumeError, match="do not fit int8"):
        write_nifti(tmp_path / "a.nii", Volume(volume.array + 100, volume.affine), np.int8)
    with pytest.raises(VolumeError, match="cannot hold float16"):
        write_nifti(tmp_path / "a.nii", volume, np.float16)
    assert not list(tmp_path.iterdir())
