"""What the repositories tell those who stand on them, who cannot be called from here by name."""

from __future__ import annotations

from django.dispatch import Signal

# Sent when the transaction of a commit has ended well, so that a receiver may read files and be slow: `version`,
# with its repository; `before`, the version it followed, or None; `paths`, those that changed; `actor`, its author;
# `lineage_follows`, whether an import is about to say what the version was made from.
# A receiver that fails is logged: the commit is made.
committed = Signal()

# Sent in the transaction that takes versions out of a `repository`, or brings some back, other than by a commit.
versions_moved = Signal()
