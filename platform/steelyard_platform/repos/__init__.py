"""The one core that weights and datasets share: repositories, versions, entries, blobs, aliases and tags."""
