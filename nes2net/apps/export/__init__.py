"""Write a detector in other formats, and for other programs: ONNX, a Hugging Face Space, the Arena."""
