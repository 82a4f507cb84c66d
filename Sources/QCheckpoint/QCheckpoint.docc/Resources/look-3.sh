qcodec verify optimizer.qckpt
qcodec verify optimizer.qckpt --against optimizer.safetensors --max-update-error 0.02
