"""A detector in other formats, and what others run it with: ONNX, a Hugging Face Space, the Arena."""
