"""Preparation: from images as they are delivered to scenes that can be mapped."""
