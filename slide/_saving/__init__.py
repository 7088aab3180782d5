"""Models and trainings as files: safetensors and JSON, with checksums, no pickle.

Map of the package::

    model_file    model files: write and read
    checkpoint    checkpoint files: which training, when to write, how to resume
    network_state a network as plain values and named arrays
    course_state  a Course as JSON values and named arrays
    forms         names, dtypes and shapes of a network's arrays
    room          the memory that a file may take
    tensors       named arrays in a safetensors file, with checksums
    plain_json    plain Python and NumPy values as JSON
"""
