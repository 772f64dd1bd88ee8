"""One training in several processes, on one machine or several, through torchrun's own agent.

    run_job (the child)          starts the group, and is what the worker watches
      └ agent (torch.distributed.launcher)
          ├ rank 0               reports, saves, commits: it has the job's session
          └ rank 1, 2, …         compute, and say nothing

When a rank dies, the agent ends the others and starts them all again from the last checkpoint, within the same attempt;
when that has not helped, the attempt has failed, and the platform decides. On several machines (`hosts`), each has its
own child and agent, rank 0 is on the one that leads, and a machine that goes ends the attempt.

Each rank takes its share of every batch, so that a batch, and with it the schedule, is the same for any number of them.
"""
