# One image for every process of the platform; compose chooses the command.
FROM python:3.12-slim
WORKDIR /srv/steelyard
# The index of torch's CPU build; without it, some indexes bring gigabytes of CUDA.
ARG TORCH_INDEX=""
COPY pyproject.toml constraints.txt README.md LICENSE manage.py ./
COPY contracts contracts
COPY broker broker
COPY platform platform
COPY sdk sdk
COPY workers workers
COPY edge edge
COPY demo demo
COPY templates templates
COPY static static
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
 && pip install --no-cache-dir --constraint constraints.txt --editable ".[platform,workers]"
RUN useradd --create-home steelyard && mkdir /var/steelyard && chown steelyard /var/steelyard
USER steelyard
ENV STEELYARD_VAR=/var/steelyard STEELYARD_BIND=0.0.0.0
EXPOSE 8000
