"""Stored cases: crops equal numpy's, bytes are the same each time, damage is named."""

import blosc2
import numpy as np
import pytest

from hermes.files.masks import save_masks
from hermes.files.store import IMAGE_STEP, StoreError, open_case, save_case

SHAPE = (130, 70, 41)
META = {"case": "case_1", "affine": [1.5, 0.0], "native": {"axes": "R,A,S", "size": [3, 4, 5]}}


def z_scores(rng, shape):
    """Within 8 standard deviations float16 is finer than the step, so half a step is the error."""
    return np.clip(2 * rng.normal(size=shape), -8, 8).astype(np.float32)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return z_scores(rng, SHAPE), rng.integers(0, 9, SHAPE).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    save_case(folder, "case_1", *arrays, META)
    return folder


def numpy_crop(array, start, size):
    index = [np.arange(s, s + n) for s, n in zip(start, size, strict=True)]
    inside = [(i >= 0) & (i < n) for i, n in zip(index, array.shape, strict=True)]
    result = np.zeros(size, array.dtype)
    result[np.ix_(*inside)] = array[np.ix_(*(i[k] for i, k in zip(index, inside, strict=True)))]
    return result


@pytest.mark.parametrize(
    ("start", "size"),
    [
        ((0, 0, 0), SHAPE),
        ((60, 30, 5), (20, 33, 31)),
        ((-7, 50, -3), (40, 40, 60)),  # hangs over at both ends
        ((129, 69, 40), (1, 1, 1)),
        ((-10, 0, 0), (10, 5, 5)),  # just beside the volume
        ((500, 0, 0), (4, 4, 4)),
    ],
)
def test_crop_is_the_zero_padded_slice(folder, arrays, start, size):
    image, label = open_case(folder, "case_1").crop(start, size)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(label, numpy_crop(arrays[1], start, size))
    np.testing.assert_allclose(image, numpy_crop(arrays[0], start, size), atol=IMAGE_STEP / 2)


def test_a_box_may_be_given_as_arrays(folder, arrays):
    start, size = np.array([60, 30, 5]), np.array([20, 33, 31])
    _, label = open_case(folder, "case_1").crop(start, size)
    np.testing.assert_array_equal(label, numpy_crop(arrays[1], start, size))


def test_the_image_error_is_half_a_step_or_half_a_float16(tmp_path):
    values = np.array([0.3, -0.001, 1.2345, -3.21, 60.7, 1000.3]).reshape(1, 1, 6)
    save_case(tmp_path, "a", values, None, {})
    image, _ = open_case(tmp_path, "a").crop((0, 0, 0), values.shape)
    half_float16 = np.spacing(np.abs(values).astype(np.float16)).astype(float) / 2
    allowed = np.where(np.abs(values) < 8, IMAGE_STEP / 2, IMAGE_STEP / 2 + half_float16)
    assert (np.abs(image - values) <= allowed).all()


def test_meta_and_types_come_back(folder):
    case = open_case(folder, "case_1")
    assert case.meta == META
    assert (case.image.dtype, case.label.dtype) == (np.float16, np.uint8)
    assert case.image.shape == SHAPE


def test_same_input_same_bytes(folder, arrays, tmp_path):
    reordered = dict(reversed(META.items()))
    save_case(tmp_path, "case_1", *arrays, reordered)
    names = ["case_1_image.b2nd", "case_1_label.b2nd"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_small_volumes_are_one_chunk_and_large_ones_cubes(tmp_path):
    for shape, chunks in (((50, 48, 52), (50, 48, 52)), ((254, 96, 11), (64, 96, 11))):
        save_case(tmp_path, "a", np.zeros(shape, np.float32), None, {})
        assert open_case(tmp_path, "a").image.chunks == chunks


def test_a_crop_reads_only_the_blocks_it_touches(tmp_path):
    """With the second chunk destroyed, a crop from the third still comes out right."""
    image = z_scores(np.random.default_rng(1), (192, 64, 64))
    save_case(tmp_path, "a", image, None, {})
    path = tmp_path / "a_image.b2nd"
    content = bytearray(path.read_bytes())
    first, last = len(content) * 45 // 100, len(content) * 60 // 100  # inside the second chunk
    content[first:last] = bytes(last - first)
    path.write_bytes(content)
    case = open_case(tmp_path, "a")
    found, _ = case.crop((130, 0, 0), (60, 64, 64))
    np.testing.assert_allclose(found, image[130:190], atol=IMAGE_STEP / 2)
    with pytest.raises(StoreError, match=r"a_image\.b2nd: damaged"):
        case.crop((64, 0, 0), (64, 64, 64))


def test_cases_without_a_label(folder, arrays, tmp_path):
    save_case(tmp_path, "a", *arrays, {})
    save_case(tmp_path, "a", arrays[0], None, {})  # the label of an earlier run goes away
    case = open_case(tmp_path, "a")
    assert case.label is None
    assert case.crop((0, 0, 0), (4, 4, 4))[1] is None


def test_the_image_may_be_a_box_of_the_labels_grid(arrays, tmp_path):
    image, label = arrays
    box = (slice(20, 110), slice(0, 70), slice(7, 30))
    meta = {"box_start": [20, 0, 7], "grid_size": list(SHAPE)}
    save_case(tmp_path, "a", image[box], label, meta)
    case = open_case(tmp_path, "a")
    assert case.box == box
    assert case.image.shape == (90, 70, 23)
    np.testing.assert_array_equal(case.label[...], label)
    start, size = (-4, 60, 3), (30, 20, 40)  # hangs over, where the label's own grid goes on
    found, classes = case.crop(start, size)
    np.testing.assert_allclose(found, numpy_crop(image[box], start, size), atol=IMAGE_STEP / 2)
    np.testing.assert_array_equal(classes, numpy_crop(label[box], start, size))
    for shape in (image[box].shape, (131, 70, 41)):
        with pytest.raises(StoreError, match="differ; one grid"):
            save_case(tmp_path, "b", image[box], np.zeros(shape, np.uint8), meta)


def test_an_image_may_be_made_as_it_is_written(arrays, folder, tmp_path):
    class Made:
        shape, asked = SHAPE, []

        def __getitem__(self, planes):
            self.asked.append((planes.start, planes.stop))
            return arrays[0][planes]

    save_case(tmp_path, "case_1", Made(), arrays[1], META)
    assert Made.asked == [(0, 64), (64, 128), (128, 130)]
    for name in ("case_1_image.b2nd", "case_1_label.b2nd"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_case_that_fails_half_way_leaves_the_earlier_one(arrays, folder, tmp_path):
    save_case(tmp_path, "case_1", *arrays, META)
    broken = arrays[0].copy()
    broken[-1] = np.nan  # in the last row of chunks
    with pytest.raises(StoreError, match="normalise"):
        save_case(tmp_path, "case_1", broken, 0 * arrays[1], META)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_what_cannot_be_stored_is_refused(arrays, tmp_path):
    image, label = arrays
    with pytest.raises(StoreError, match=r"a_image\.b2nd: .*differ"):
        save_case(tmp_path, "a", image[1:], label, {})
    for bad in (np.nan, np.inf, 1e6):
        with pytest.raises(StoreError, match="normalise"):
            save_case(tmp_path, "a", np.full((2, 2, 2), bad), None, {})
    with pytest.raises(StoreError, match="not JSON"):
        save_case(tmp_path, "a", image, label, {"size": np.zeros(3)})
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_files_are_named(folder, arrays, tmp_path):
    with pytest.raises(StoreError, match=r"gone_image\.b2nd: no such file"):
        open_case(folder, "gone")
    path = tmp_path / "case_1_image.b2nd"
    path.write_bytes((folder / path.name).read_bytes()[:5000])
    with pytest.raises(StoreError, match=r"case_1_image\.b2nd: damaged"):
        open_case(tmp_path, "case_1")
    blosc2.asarray(arrays[0], urlpath=str(path), mode="w")
    with pytest.raises(StoreError, match="no case meta"):
        open_case(tmp_path, "case_1")
    save_case(tmp_path, "case_1", arrays[0][1:], arrays[1][1:], META)
    (tmp_path / "case_1_label.b2nd").write_bytes((folder / "case_1_label.b2nd").read_bytes())
    with pytest.raises(StoreError, match=r"label\.b2nd: size"):
        open_case(tmp_path, "case_1")


def test_the_number_of_cores_is_in_no_file(folder, arrays, tmp_path):
    """blosc2 keeps the threads that will read a file in its header, by default all cores."""
    masks = (arrays[1][None] > 4).astype(np.uint8)
    save_masks(tmp_path / "before.b2nd", masks)
    before = blosc2.set_nthreads(7)
    try:
        save_case(tmp_path, "case_1", *arrays, META)
        save_masks(tmp_path / "masks.b2nd", masks)
    finally:
        blosc2.set_nthreads(before)
    for name in ("case_1_image.b2nd", "case_1_label.b2nd"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    assert (tmp_path / "masks.b2nd").read_bytes() == (tmp_path / "before.b2nd").read_bytes()
