"""Resampling to another voxel size: cubic splines for images, a linear vote for labels.

Between grids whose axes are parallel, a cubic spline is one matrix per axis: fitting the
coefficients and evaluating them are both linear, so both fold into one band of weights and a
volume is resampled by three matrix products (Unser, Aldroubi, Eden 1993, "B-spline signal
processing"). Oblique targets take the general path,
`hermes.resample.general.resample_to`, which is imported by itself: its library is slow to load.

Convention: the CENTRES of the two grids coincide, and the fields of view do to within a quarter of
a target voxel at either end. The size is the rounded quotient of extent and target spacing, so
sizes and spacings alone say where every voxel is, the way back is the same map with the two grids
exchanged, and resampling commutes with flips. `resampled_affine` follows.

No smoothing comes before downsampling: ASSUME as published, where plain B-spline interpolation
is applied; detail finer than the target voxel aliases. A spline overshoots at sharp edges, by up
to a tenth or so of the step, and is not clipped here: the intensity window of preprocess, which
comes after, bounds it.
"""

from hermes.resample.grid import box_on_grid, resampled_affine, target_grid
from hermes.resample.image import resample_image
from hermes.resample.label import resample_label, resample_label_to

__all__ = [
    "box_on_grid",
    "resample_image",
    "resample_label",
    "resample_label_to",
    "resampled_affine",
    "target_grid",
]
