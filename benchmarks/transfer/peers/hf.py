"""The Hub's own `hf upload` and `hf download`, unmodified, with a Steelyard as their endpoint."""

from __future__ import annotations

from benchmarks.transfer.peer import Command, ours
from benchmarks.transfer.peers.steelyard import Steelyard


class Hf(Steelyard):
    name = "hf"

    def version(self) -> Command:
        return Command([ours("hf"), "version"], self.place.folder)

    def pull(self) -> list[Command]:
        return [self._client("puller", ours("hf"), "download", "lab/net", "--local-dir", str(self.pulled()))]

    def _upload(self, repository: str, machine: str) -> list[Command]:
        return [self._client(machine, ours("hf"), "upload", repository, str(self.place.outgoing), ".")]
