"""What turns prompts into text: a local OpenVINO model or an OpenAI-compatible endpoint."""
