"""Machines that are started for one job each, and end with it: for clouds where an idle machine costs money.

    launcher = KubernetesLauncher(KubernetesSettings(image="...", url="https://hub.example.org"))
    launcher.launch(job, needs)    # a machine that runs `steelyard worker --job JOB`
    launcher.running()             # the jobs whose machines are there
    launcher.stop(job)

`dispatch` asks the platform which jobs wait and launches a machine for each. Another cloud is another `Launcher`.
"""
