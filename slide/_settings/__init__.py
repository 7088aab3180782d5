"""Parameters of the user: checked, "auto" resolved, and the network compared with the memory.

Map of the package::

    rules           rules for parameters, and their checks
    settings        Settings: everything resolved, as the engine needs it
    auto            resolution of "auto" from the data's shape
    auto_retrieval  resolution of "auto" for a layer's retrieval
    budget          check that a network fits into memory
"""
