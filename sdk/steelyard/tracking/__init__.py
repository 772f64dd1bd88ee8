"""A training of your own reports to Steelyard.

    run = steelyard.init(project="team/shelf", config={"lr": 0.1})
    for batch in data:
        run.log({"loss": step(batch)})
    run.save(model)
    run.finish()

`log` writes to a file and waits for nobody; a thread sends what is there. What could not be sent stays in the file, and
`steelyard sync` sends it: nothing is lost or doubled by a crash, a server that restarts, or a network that is away.

    run         Run: log, write, save, config, finish
    starting    init
    spool       the folder of a run
    delivery    from the folder to the server, once
    sending     the threads that do so while the training runs
    syncing     the same afterwards
"""

from steelyard.tracking.run import Run, RunCancelled
from steelyard.tracking.starting import init
from steelyard.tracking.syncing import Synced, sync

__all__ = ["Run", "RunCancelled", "Synced", "init", "sync"]
