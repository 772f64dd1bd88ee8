"""Predictions: what a version makes of pictures that somebody has just sent, in ONNX Runtime."""
