"""What an export says of itself, for whoever opens it without us."""

README = """\
# A Steelyard export

Everything here is plain files. No program of ours is needed to read or use them.

    models/TEAM/NAME/              one folder for each model, and for each dataset below datasets/
      CARD.md                      README.md of the newest version of main
      repository.json              name, kind, visibility, the day it was made
      versions/v3/                 the files of version 3, as they were
      versions/v3.sha256           their digests: cd versions/v3 && sha256sum -c ../v3.sha256
      versions.jsonl               one line a version: branch, parent, title, message, author, date, commit id
      branches.jsonl               the branches, and which version each came from (base)
      tags.jsonl  aliases.jsonl    names of versions; an alias can move
      alias-history.jsonl          who moved which alias, when, from where to where, why, and what the gates said
      gates.jsonl                  the rules that guard aliases and releases
      lineage.jsonl                what each version was made from: trained-on, fine-tuned-from, exported-from, ...
      evaluations.jsonl            what was measured of each version, with everything that was reported
      measures.csv                 the figures of those evaluations, as a table
      runs/NAME/run.json           a run: its parameters, machine, state, dates and the version it saved
      runs/NAME/metrics.csv        its metrics: metric, step, value
      runs/NAME/console.log        what it printed

A file ending in `.jsonl` holds a JSON object on each line. Dates are UTC. References are written `team/model@v3` and
`datasets:/team/data@v1`.

A content that several versions share is on the disk once, under several names (hard links): change none of them in
place, and copy the folder with what keeps links (`rsync -aH`, `cp -a`, `tar`). Copied otherwise it takes more room, and
is complete all the same.

A version whose line in `versions.jsonl` has `left_out` has no files here; the line says why. What is not here at all:
members and tokens, settings of access, webhooks, expiry rules, the trash, requests that were still open (proposals and
promotions), lifted quarantines, pictures that runs left, signatures (another installation signs with its own key),
devices and releases.

`steelyard import FOLDER` brings all of it into a Steelyard; `steelyard export` goes on with a folder that it has begun.
"""
