"""Programs that run alone, each in a process of its own: this folder is put on their path, and nothing else of ours.

`litemill_runner` is pushed to devices as it is; `litemill_micro` stays here.
"""
