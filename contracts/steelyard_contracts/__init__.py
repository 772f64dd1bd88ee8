"""What every Steelyard process agrees on: names, references, digests, manifests and wire types.

Pure: nothing here does I/O, reads a clock or knows a framework. Every other package may import it, and it
imports none of them.
"""
