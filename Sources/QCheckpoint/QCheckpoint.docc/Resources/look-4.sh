qcodec report optimizer.qckpt --against optimizer.safetensors -o report.html
