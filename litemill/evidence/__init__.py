"""What was found out: manifests and evidence as data, the contract between steps (JSON in and out).

Fields are added, never renamed: files written by an older version stay readable.
"""
