"""The fast path for weights: cut at tensors, hashed on all cores, only what is missing sent or fetched."""
