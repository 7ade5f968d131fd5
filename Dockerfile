# rlrestore on a processor, weights inside. It reads no HEIC: the wheels of the extra `heic` are under GPL 2, which
# would be the image's then; for yourself write '.[heic,serve]' below.
#
#   docker build -t rlrestore .
#   docker run --rm -p 127.0.0.1:8000:8000 rlrestore
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/photos" rlrestore restore photo.jpg

FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /opt/rlrestore
# First what seldom changes. torch's own index has the build without CUDA, a tenth of the size.
COPY constraints.txt ./
RUN /opt/rlrestore/bin/pip install --no-cache-dir --no-compile \
    --index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple \
    -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY rlrestore rlrestore
COPY toolbox toolbox
COPY envs envs
COPY agent agent
RUN /opt/rlrestore/bin/pip install --no-cache-dir --no-compile \
    --extra-index-url https://download.pytorch.org/whl/cpu \
    -c constraints.txt '.[serve]' \
    && /opt/rlrestore/bin/pip uninstall --yes pip
# What of torch only those need who compile against it or test it.
ARG TORCH=/opt/rlrestore/lib/python3.11/site-packages/torch
RUN rm -rf "$TORCH/include" "$TORCH/share" "$TORCH/test" \
    && find "$TORCH/bin" -type f ! -name torch_shm_manager -delete

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 rlrestore
COPY --from=build /opt/rlrestore /opt/rlrestore
ENV PATH="/opt/rlrestore/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /photos
EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rlrestore"]
CMD ["serve", "--host", "0.0.0.0"]
