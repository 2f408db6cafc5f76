//! Traces: OpenTelemetry over OTLP, off unless an endpoint is configured.
//!
//! The exporter reads the usual `OTEL_EXPORTER_OTLP_*` variables itself, and the SDK those of resource, sampler, and batch.
//! Three that it ignores are read here: `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`, and `OTEL_PROPAGATORS`.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::field::Empty;
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

/// How the environment wants traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSettings {
    /// Whether spans are exported at all.
    pub is_on: bool,
    /// Whether a client's `traceparent` is honoured.
    pub honours_parent: bool,
    /// Whether spans are sent over gRPC instead of HTTP.
    pub is_grpc: bool,
}

impl TraceSettings {
    /// Reads the `OTEL_*` variables that the SDK does not read; `variable` returns the value of one.
    ///
    /// Traces are on if an OTLP endpoint is given, `OTEL_SDK_DISABLED` is not `true`, and `OTEL_TRACES_EXPORTER` is not
    /// `none`. An empty variable counts as unset, as the OpenTelemetry specification says.
    ///
    /// Errors: a sentence, if `OTEL_TRACES_EXPORTER` names an exporter that does not exist here.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let exports = match given("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_EXPORTER is `{other}`, but only `otlp` and `none` exist here"
                ));
            }
        };
        let is_disabled = given("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let has_endpoint = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some()
            || given("OTEL_EXPORTER_OTLP_ENDPOINT").is_some();
        let propagators = given("OTEL_PROPAGATORS").unwrap_or_else(|| "tracecontext".into());
        let protocol = given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| given("OTEL_EXPORTER_OTLP_PROTOCOL"));
        Ok(Self {
            is_grpc: protocol.is_some_and(|protocol| protocol.trim() == "grpc"),
            is_on: has_endpoint && exports && !is_disabled,
            honours_parent: propagators.split(',').any(|p| p.trim() == "tracecontext"),
        })
    }
}

/// The exporter's background thread; spans that it still holds are sent by [`Traces::flush`].
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    /// Where the connection over gRPC lives.
    _runtime: Option<Runtime>,
}

impl Traces {
    /// Starts exporting as the environment says.
    ///
    /// The exporter lives on a thread of its own with a blocking client: the asynchronous one panics there, and loses
    /// every span without a word. One over gRPC needs a runtime, and gets one of its own, since the process's own may be
    /// busy.
    ///
    /// Errors: a sentence, if the exporter cannot be built, for example because the endpoint is no URL.
    pub fn start(settings: TraceSettings) -> Result<Option<Self>, String> {
        if !settings.is_on {
            return Ok(None);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing the race against another thread is fine: it installs the same provider.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let runtime = match settings.is_grpc {
            true => Some(small_runtime()?),
            false => None,
        };
        let exporter = {
            let _entered = runtime.as_ref().map(Runtime::enter);
            let exporter = SpanExporter::builder().build();
            exporter.map_err(|error: ExporterBuildError| error.to_string())?
        };
        if settings.honours_parent {
            global::set_text_map_propagator(TraceContextPropagator::new());
        }
        Ok(Some(Self::with_exporter(exporter, runtime)))
    }

    fn with_exporter(
        exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
        runtime: Option<Runtime>,
    ) -> Self {
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("hugbucket");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Self {
            provider,
            _runtime: runtime,
        }
    }

    /// Returns the layer that turns spans of `tracing` into OpenTelemetry's.
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.provider.tracer("hugbucket");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // Code positions, thread ids, and busy times would outweigh what the spans tell.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
    }

    /// Sends what is still held, for at most `limit`. Blocks: call it when the runtime has nothing left to do.
    pub fn flush(self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            tracing::warn!(%error, "failed to send the last spans");
        }
    }
}

fn small_runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

/// Reports whether a span or event is exported: our own, down to `INFO`. Spans of the libraries below, the exporter's own
/// client among them, stay out.
pub fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("hugbucket") && *metadata.level() <= Level::INFO
}

/// Opens the span of a request: an adapter may do so, else the trace layer does. Its level is `ERROR`, so that lines of every
/// level that pass the filter carry the request's id. Inside of an adapter's own span it is a part of that.
///
/// `trace_parent` is the client's header, whose trace goes on here.
pub fn request_span(protocol: &str, request_id: &str, trace_parent: Option<&str>) -> Span {
    let kind = match Span::current().is_none() {
        true => "server",
        false => "internal",
    };
    let span = tracing::error_span!(
        "request",
        otel.name = Empty,
        otel.kind = kind,
        otel.status_code = Empty,
        request_id,
        trace_id = Empty,
        span_id = Empty,
        protocol,
        operation = Empty,
        // Filled in once the caller is proven.
        caller = Empty,
        http.request.method = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        aws.s3.bucket = Empty,
        aws.s3.key = Empty,
        hugbucket.bytes_sent = Empty,
        error.r#type = Empty,
    );
    if let Some(parent) = trace_parent {
        continue_trace(&span, parent);
    }
    let context = span.context();
    let context = context.span();
    if context.span_context().is_valid() {
        span.record("trace_id", context.span_context().trace_id().to_string());
        span.record("span_id", context.span_context().span_id().to_string());
    }
    span
}

/// Gives a span of [`request_span`] its name, once that is known.
pub fn name_request(span: &Span, name: String) {
    span.record("otel.name", &name);
    // Recording names a span only before its context was asked for.
    span.context().span().update_name(name);
}

/// Makes `span` a child of the span that a `traceparent` header names. Does nothing if the header is malformed, or if
/// traces are off.
pub fn continue_trace(span: &Span, trace_parent: &str) {
    let header = HashMap::from([("traceparent".to_owned(), trace_parent.to_owned())]);
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&header));
    if parent.span().span_context().is_valid() {
        // The only error is that no trace is kept of this span.
        let _ = span.set_parent(parent);
    }
}

/// Returns the trace id of `span`, 32 hex digits, if a trace is kept of it.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use opentelemetry_otlp::WithExportConfig;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<TraceSettings, String> {
        TraceSettings::from_variables(|name| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn traces_are_off_without_an_endpoint_and_when_told_so() {
        let is_on = |variables: &[_]| settings(variables).unwrap().is_on;
        assert!(!is_on(&[]));
        assert!(!is_on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(is_on(&[ENDPOINT]));
        assert!(is_on(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a")]));
        assert!(!is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]));
        assert!(!is_on(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]));
        assert!(settings(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")]).is_err());
    }

    #[test]
    fn the_protocol_of_traces_counts_before_the_general_one() {
        let is_grpc = |variables: &[_]| settings(variables).unwrap().is_grpc;
        let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert!(!is_grpc(&[]) && is_grpc(&[general]));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert!(!is_grpc(&[general, own]));
    }

    #[test]
    fn the_clients_trace_is_honoured_unless_told_otherwise() {
        let honours = |variables: &[_]| settings(variables).unwrap().honours_parent;
        assert!(honours(&[]));
        assert!(honours(&[("OTEL_PROPAGATORS", "baggage, tracecontext")]));
        assert!(!honours(&[("OTEL_PROPAGATORS", "none")]));
    }

    /// Takes what the exporter posts.
    async fn receiver() -> (std::net::SocketAddr, tokio::sync::mpsc::Receiver<Vec<u8>>) {
        let (posted, received) = tokio::sync::mpsc::channel(8);
        let post = move |body: axum::body::Bytes| {
            let posted = posted.clone();
            async move { posted.send(body.to_vec()).await.unwrap() }
        };
        let routes = axum::Router::new().route("/v1/traces", axum::routing::post(post));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (address, received)
    }

    fn has(bytes: &[u8], wanted: &[u8]) -> bool {
        bytes.windows(wanted.len()).any(|window| window == wanted)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_arrive_at_the_collector_within_the_clients_trace() {
        let (address, mut received) = receiver().await;
        global::set_text_map_propagator(TraceContextPropagator::new());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("http://{address}/v1/traces"))
            .build()
            .unwrap();
        let traces = Traces::with_exporter(exporter, None);
        let exported = traces.layer().with_filter(filter_fn(is_exported));
        let subscriber = tracing_subscriber::registry().with(exported);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::error_span!("request", otel.name = "S3.GetObject");
            continue_trace(
                &span,
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            );
            assert_eq!(trace_id(&span).unwrap(), "0af7651916cd43dd8448eb211c80319c");
            let _entered = span.enter();
            drop(tracing::info_span!(target: "hyper", "somebody else's"));
        });
        tokio::task::spawn_blocking(move || traces.flush(Duration::from_secs(5)))
            .await
            .unwrap();
        let export = received.recv().await.unwrap();
        assert!(has(&export, b"S3.GetObject"));
        assert!(has(&export, b"hugbucket"));
        assert!(has(
            &export,
            &hex::decode("0af7651916cd43dd8448eb211c80319c").unwrap()
        ));
        assert!(!has(&export, b"somebody else's"));
    }

    #[test]
    fn without_a_trace_there_is_no_id_and_a_parent_does_no_harm() {
        let span = tracing::error_span!("request");
        continue_trace(
            &span,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        assert_eq!(trace_id(&span), None);
    }
}
