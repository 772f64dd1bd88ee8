"""What the Ultralytics client and its SDK post and fetch, answered from runs, repositories and dataset versions.

    events     a training that reports: started, console, epochs, complete, failed
    uploads    weights on their way in: a signed address, one PUT, and a version
    files      `ul://` addresses: weights to start from, datasets to train on, each by a signed address
    projects, models, datasets, account, trash     the registry's part of the SDK's contract

The facade keeps no second copy of anything: a training is a run, a project a model repository, a model what a run of
the project saved. The client is AGPL software; what is here was written from the requests it makes, and none of it is
imported.
"""
