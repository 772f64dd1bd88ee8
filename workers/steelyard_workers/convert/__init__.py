"""Torch's pickled files written as safetensors: a job, and the sandbox that does what could be dangerous.

job        fetch, convert each file, commit the result on a side branch, report the lineage
sandbox    a process that reaches no network and may write one file
isolation  what is taken from that process before it starts
child      what runs in it: `torch.load(weights_only=True)`, tensor by tensor to safetensors
unloaded   what it does with a pickled network, which torch does not load so: the tensors are read, nothing is loaded
"""
