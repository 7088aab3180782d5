"""Modules that several benchmarks share.

run         systems in child processes, medians, where a figure comes from
child       what every child process does: data in, fit and prediction, a report out
data        data sets                   fashion     runs on Fashion-MNIST
planted     problems of many classes    engine      all that is private to slide
table       tables on screen            figure      figures next to the JSON
"""
