"""The course of a training: epochs, hard neurons, the prototypes' weight, when to stop."""
