/** Who is told what happens; and the fence between the SDK's mistakes and the host page. */

export function createListeners() {
  const listeners = {};
  const stops = [];

  /** Calls `listener` at each event of that name; returns a function that stops it. */
  function on(name, listener) {
    (listeners[name] ??= new Set()).add(listener);
    return () => listeners[name].delete(listener);
  }

  /** Tells everybody; a listener's own mistake is told to the listeners of "error" and goes no further. */
  function emit(name, detail) {
    for (const listener of listeners[name] ?? []) {
      try {
        listener(detail);
      } catch (error) {
        if (name !== "error") fail(name, error);
      }
    }
  }

  const fail = (where, error) => emit("error", { where, error });

  /** The same function, which answers `otherwise` instead of throwing or, later, refusing its promise. */
  function guarded(where, action, otherwise = null) {
    const failed = (error) => (fail(where, error), otherwise);
    return (...args) => {
      try {
        const result = action(...args);
        return result?.catch?.(failed) ?? result;
      } catch (error) {
        return failed(error);
      }
    };
  }

  /** Listens, guarded, before the page's own listeners do, and never in their way. Returns a function that stops it. */
  function listen(target, name, action) {
    const handler = guarded(name, action);
    const options = { passive: true, capture: true };
    target.addEventListener(name, handler, options);
    const stop = () => target.removeEventListener(name, handler, options);
    stops.push(stop);
    return stop;
  }

  return { on, emit, fail, guarded, listen, stops };
}
