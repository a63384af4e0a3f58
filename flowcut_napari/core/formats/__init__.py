"""Datasets in the forms that others read: YouTube-VIS, COCO, DAVIS."""
