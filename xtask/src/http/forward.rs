//! Plain HTTP through a proxy: the request goes to the proxy with the whole address in its first line (RFC 9112, 3.2.2).
//!
//! ureq tunnels everything with CONNECT, which proxies commonly allow for port 443 alone. So here the name is resolved to the
//! proxy's address, and the first line is completed on its way out. Each connection serves one request.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Intercept;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, TcpConnector, Transport, TransportAdapter,
};
use ureq::{Agent, Error};

/// An agent whose plain requests go to `proxy`.
pub(super) fn agent(config: Config, proxy: &Intercept) -> Agent {
    let connector = TcpConnector::default().chain(ForwardConnector {
        authorization: proxy.basic_auth().map(|value| value.as_bytes().to_vec()),
    });
    let resolver = ToProxy {
        proxy: proxy.uri().clone(),
        resolver: DefaultResolver::default(),
    };
    Agent::with_parts(config, connector, resolver)
}

/// Every name leads to the proxy, which alone looks it up.
#[derive(Debug)]
struct ToProxy {
    proxy: Uri,
    resolver: DefaultResolver,
}

impl Resolver for ToProxy {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(&self.proxy, config, timeout)
    }
}

struct ForwardConnector {
    authorization: Option<Vec<u8>>,
}

impl fmt::Debug for ForwardConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardConnector")
    }
}

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Forward;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Forward>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        let now: Arc<dyn Fn() -> Instant + Send + Sync> = Arc::clone(&details.current_time);
        let authority = details
            .uri
            .authority()
            .map(|authority| authority.as_str())
            .unwrap_or_default();
        Ok(Some(Forward {
            buffers: LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size()),
            stream: TransportAdapter::new(Box::new(transport), now),
            prefix: format!("http://{authority}").into_bytes(),
            authorization: self.authorization.clone(),
            begun: false,
        }))
    }
}

struct Forward {
    buffers: LazyBuffers,
    stream: TransportAdapter,
    prefix: Vec<u8>,
    authorization: Option<Vec<u8>>,
    begun: bool,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forward")
    }
}

impl Transport for Forward {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_timeout(timeout);
        let output = self.buffers.output()[..amount].to_vec();
        if self.begun {
            return Ok(self.stream.write_all(&output)?);
        }
        // The buffer holds far more than a request line; the first piece has it whole.
        let space = output.iter().position(|&byte| byte == b' ');
        let line = output.windows(2).position(|two| two == b"\r\n");
        let (Some(space), Some(line)) = (space, line) else {
            return Err(Error::Tls("the request line is longer than the buffer"));
        };
        self.begun = true;
        let mut head = output[..=space].to_vec();
        head.extend_from_slice(&self.prefix);
        head.extend_from_slice(&output[space + 1..line + 2]);
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"proxy-authorization: ");
            head.extend_from_slice(authorization);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(&output[line + 2..]);
        Ok(self.stream.write_all(&head)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        use std::io::Read;
        self.stream.set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let count = self.stream.read(input)?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Never used again: where the next request line begins is not seen here.
    fn is_open(&mut self) -> bool {
        false
    }
}
