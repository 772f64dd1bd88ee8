"""Archives of pictures and labels become versions of a dataset."""
