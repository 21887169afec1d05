"""Merging: one set of weights made from several, without any training.

Everything here is pure: tensors and numbers in and out. `methods` has one registered function for
each way of merging; what it takes to apply one to the modules of an engine is in
`engine.merged`, and the command is `training.merge`.
"""
