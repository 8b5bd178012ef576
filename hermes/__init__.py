"""Hermes: context-prior learning for universal 3D medical image segmentation."""

__version__ = "0.1.0"
