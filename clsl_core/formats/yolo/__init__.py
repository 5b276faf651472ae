"""YOLO folders in the layout of Ultralytics."""
