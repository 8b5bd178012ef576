"""Any target grid, oblique ones too."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from hermes.files.volume import Affine, Volume

_ITK_INTERPOLATORS = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}


def resample_to(
    volume: Volume, affine: Affine, size: Sequence[int], order: int, outside: float = 0.0
) -> Volume:
    """Any target grid, oblique ones too, by SimpleITK: order 3 (B-spline), 1 or 0 (nearest).

    `size` is (z, y, x). Order 0 keeps the dtype (labels); 1 and 3 give float32. Voxels further
    than half a voxel outside the volume are `outside`. Its spline mirrors at the border, where it
    differs from `resample_image`'s. Raises ValueError for another order.
    """
    if order not in _ITK_INTERPOLATORS:
        raise ValueError(f"order {order}: choose 0 (nearest), 1 (linear) or 3 (cubic B-spline)")
    array = volume.array if order == 0 else volume.array.astype(np.float32, copy=False)
    between = np.linalg.solve(volume.affine, affine)  # target index -> source index, (x, y, z)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(between[:3, :3].ravel().tolist())
    transform.SetTranslation(between[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()  # both images lie on the unit grid of their indices
    resampler.SetSize([int(n) for n in reversed(size)])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(_ITK_INTERPOLATORS[order])
    resampler.SetDefaultPixelValue(outside)
    moved = resampler.Execute(sitk.GetImageFromArray(array))
    return Volume(sitk.GetArrayFromImage(moved), affine)
