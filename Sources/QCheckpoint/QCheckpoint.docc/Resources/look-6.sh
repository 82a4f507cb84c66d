qcodec decode optimizer.qckpt -o restored.safetensors
qcodec diff optimizer.qckpt restored.safetensors
