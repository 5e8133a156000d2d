# What an Arm board needs to run and measure files: Python, NumPy, the runtimes and an SSH server.
# For boards whose system has no Python or package manager, such as those that only run containers.
#
#   docker buildx build --platform linux/arm64 -f docker/board.Dockerfile -t edgeconv-board .
#   docker run -d --name board -p 2222:2222 -v board-keys:/etc/ssh/keys \
#       -v ~/.ssh/id_ed25519.pub:/etc/ssh/authorized_keys:ro edgeconv-board
#
# The host connects once by hand (ssh -p 2222 bench@board) and accepts the key. Then:
#
#   edgeconv bench out --device ssh://bench@board:2222/usr/local/bin/python3
#
# Nothing of edgeconv is in the image: `bench` sends its runner.
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-server \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && mkdir -p /run/sshd /etc/ssh/keys
RUN pip install --no-cache-dir ai-edge-litert==2.3.0 onnxruntime==1.31.1 numpy==2.4.6 pillow==13.0.0
# A password that nothing matches; without one the account counts as locked.
RUN useradd --create-home --shell /bin/sh --password '*' bench
COPY docker/sshd_config /etc/ssh/sshd_config
EXPOSE 2222
# The host key is made at the first start, in the volume, and so stays the same in a new container.
CMD ["/bin/sh", "-c", "test -f /etc/ssh/keys/ed25519 || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/keys/ed25519; exec /usr/sbin/sshd -D -e"]
