// Gradio keeps a stream open for as long as a page is open, and browsers hold six connections to one address: a sixth
// tab would wait for ever. So the page says every few seconds that it is open, and gradio's stream is made up here.
(() => {
  const ask = window.fetch, PAUSE_MS = 10000, STREAM = /\/gradio_api\/heartbeat\/[^/]+\/?$/;
  window.fetch = function (what, options) {
    const address = new URL(what instanceof Request ? what.url : what, document.baseURI);
    if (!STREAM.test(address.pathname)) return ask.apply(this, arguments);
    return Promise.resolve(open(address, options && options.signal));
  };

  // A page that the browser has kept is shown by "Back" when its session is gone.
  addEventListener('pageshow', event => event.persisted && location.reload());

  function open(address, signal) {
    const gone = new URL(address);
    address.searchParams.set('page', 'open');
    gone.searchParams.set('page', 'gone');
    const say = () => ask(address, {method: 'POST', credentials: 'same-origin'}).catch(() => {}); // Said again soon.
    const leave = () => navigator.sendBeacon(gone);
    const timer = setInterval(say, PAUSE_MS);
    addEventListener('pagehide', leave);
    document.addEventListener('visibilitychange', () => document.hidden || say());
    say();
    const body = new ReadableStream({start(stream) {
      stream.enqueue(new TextEncoder().encode('data: ALIVE\n\n'));
      if (signal) signal.addEventListener('abort', () => {
        clearInterval(timer);
        leave();
        stream.error(signal.reason);
      });
    }});
    return new Response(body, {headers: {'content-type': 'text/event-stream'}});
  }
})();
