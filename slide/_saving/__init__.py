"""Models and trainings as files: safetensors and JSON, with checksums, no pickle."""
