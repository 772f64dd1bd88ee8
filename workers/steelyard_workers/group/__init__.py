"""One training in several processes, on one machine, through torchrun's own agent.

    run_job (the child)          starts the group, and is what the worker watches
      └ agent (torch.distributed.launcher)
          ├ rank 0               reports, saves, commits: it has the job's session
          └ rank 1, 2, …         compute, and say nothing

When a rank dies, the agent ends the others and starts them all again from the last checkpoint, within the same attempt;
when that has not helped, the attempt has failed, and the platform decides. Each rank takes its share of every batch, so
that a batch, and with it the schedule, is the same for any number of processes.
"""
