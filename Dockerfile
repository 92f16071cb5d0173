# Two stages: the second has Python and the installed packages, no pip cache, no sources, and a compiler only for torch.
FROM python:3.12-slim AS build
ARG EXTRAS=production
RUN python -m venv /opt/cognate
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY api api
COPY classifier classifier
COPY cognate cognate
COPY core core
COPY encoder encoder
COPY evaluation evaluation
COPY indexer indexer
COPY migrations migrations
COPY storage storage
COPY workers workers
RUN /opt/cognate/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" \
    && /opt/cognate/bin/pip uninstall --yes pip

FROM python:3.12-slim
ARG EXTRAS=production
# On a GPU torch compiles the model when the worker starts.
RUN case ",${EXTRAS}," in *,torch,*|*,train,*) \
    apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* ;; esac
RUN pip uninstall --yes pip \
    && groupadd --gid 10001 cognate \
    && useradd --uid 10001 --gid cognate --no-create-home --shell /usr/sbin/nologin cognate \
    && install --directory --owner cognate --group cognate --mode 700 /data
COPY --from=build /opt/cognate /opt/cognate
ENV PATH=/opt/cognate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 COGNATE_DATA_DIR=/data
USER cognate
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=5)"]
CMD ["cognate", "serve"]
