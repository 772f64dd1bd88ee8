"""What every recipe shares: how a network learns, whatever it learns.

layout       which stage of a network a tensor belongs to
transfer     a base's tensors, by name and shape, into a network
freezing     what does not learn, epoch by epoch
adapters     low-rank adapters instead of the base's own weights
optimizers   which tensor gets which optimizer, decay and rate
schedules    the learning rate by step, pure
ema          the average of the weights over the steps
machine      device, precision, determinism
memory       the batch that the memory holds
best         the epoch that was best so far, and whether to go on
meters       losses and rates on their way to the charts
state        a checkpoint: all that a resumed run needs to go on bit by bit
loop         `fit`: the loop itself
"""
