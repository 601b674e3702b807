/** Who is told what happens; and the fence between the SDK's mistakes and the host page. */

/** Gives `core` its `on`, `emit`, `fail`, `guarded`, `listen` and `stops`. */
export function addListeners(core, methods) {
  const listeners = {};
  core.stops = [];

  /** Calls `listener` at each event of that name; returns a function that stops it. */
  methods.on = (name, listener) => {
    (listeners[name] ??= new Set()).add(listener);
    return () => listeners[name].delete(listener);
  };

  /** Tells everybody; a listener's own mistake is told to the listeners of "error" and goes no further. */
  core.emit = (name, detail) => listeners[name]?.forEach((listener) => core.guarded(listener, name)(detail));

  core.fail = (where, error) => core.emit("error", { where, error });

  /** The same function, which answers null instead of throwing or, later, refusing its promise. */
  core.guarded = (action, where) => {
    const failed = (error) => (where !== "error" && core.fail(where, error), null);
    return (...args) => {
      try {
        const result = action(...args);
        return result?.catch?.(failed) ?? result;
      } catch (error) {
        return failed(error);
      }
    };
  };

  /**
   * Listens, guarded, before the page's own listeners do, and never in their way: on the window, which hears on the way down
   * what happens to the document and its elements too. Returns a function that stops it.
   */
  core.listen = (name, action, target = window) => {
    const how = [name, core.guarded(action, name), { passive: true, capture: true }];
    target.addEventListener(...how);
    const stop = () => target.removeEventListener(...how);
    core.stops.push(stop);
    return stop;
  };
}
