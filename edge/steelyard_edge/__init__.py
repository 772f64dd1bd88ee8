"""The device agent: enrol, poll, verify, switch, check, roll back, report. Runs without torch and without Django.

var/
  device.json                who this device is, its key and the platform's public key (mode 0600)
  journal.json               the install that is under way, so that a power cut loses nothing
  releases/<digest>/         releases, each complete and checked
  current -> releases/…      what the device runs; switched by one rename
"""
