qcodec plan optimizer.safetensors --target-bits 8.5 -o policy.json
qcodec encode optimizer.safetensors -o smaller.qckpt --policy policy.json
